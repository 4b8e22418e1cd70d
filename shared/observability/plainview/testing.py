"""Helpers for tests of observed services."""
