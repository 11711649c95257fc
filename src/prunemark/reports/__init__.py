"""Reports of a study for people: charts, terminal tables and one self-contained page."""
