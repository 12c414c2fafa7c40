"""Notebooks as files: build, execute, check, lint, report. Imports no torch and no other part of the package."""
