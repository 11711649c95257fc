"""What a study found, for people: charts, terminal tables and one self-contained page."""
