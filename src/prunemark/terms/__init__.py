"""The study's words, each once. No torch."""
