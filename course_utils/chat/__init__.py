"""Chat systems around a language model: template, session, retrieval, comparison, widget. Import modules by name."""
