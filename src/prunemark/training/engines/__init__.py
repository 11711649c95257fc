"""Engines: what computes the steps of a training."""
