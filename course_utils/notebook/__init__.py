"""Notebooks as files: build, execute, check, lint, report. Imports no torch and no other part of the package."""

import sys

# nbformat imports jsonschema, which imports this package, if it is installed, to check IRIs. No notebook schema has
# one, and building its grammar takes a second of every command: None makes it look as if it were not installed.
sys.modules.setdefault("rfc3987_syntax", None)
