"""The configuration file: text to values, values to text, and what differs between two states.

Pure: nothing here opens a file.  `document` is the format, `load` reads it,
`faults` explains what is wrong, `merge` makes it part of the desired state,
`differences` compares states, `dump` writes one, `rewrite` edits a file and keeps its comments.
"""

from xlvs.config.load import Document, load
from xlvs.config.problems import ConfigError, Problem

__all__ = ["ConfigError", "Document", "Problem", "load"]
