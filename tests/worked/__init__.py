"""Worked examples of CONTRIBUTING: what a new detector and a new task add, kept true by a test."""
