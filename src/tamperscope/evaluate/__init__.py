"""Measuring: metrics with their definitions, and protocols that print tables."""
