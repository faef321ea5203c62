"""Readers: files of other frameworks as source graphs."""
