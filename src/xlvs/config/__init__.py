"""The configuration file: text to values, values to text, and what differs between two states.

Pure: nothing here opens a file.  `document` is the format, `load` reads it,
`faults` explains what is wrong, `merge` makes it part of the desired state,
`differences` compares states, `dump` writes one, `rewrite` edits a file and keeps its comments.
"""

from xlvs.config.differences import Difference, ServerDifference, differences, render, summary
from xlvs.config.dump import dump
from xlvs.config.load import Document, load
from xlvs.config.merge import merge
from xlvs.config.problems import ConfigError, Problem
from xlvs.config.rewrite import rewrite
from xlvs.config.schema import schema

__all__ = [
    "ConfigError",
    "Difference",
    "Document",
    "Problem",
    "ServerDifference",
    "differences",
    "dump",
    "load",
    "merge",
    "render",
    "rewrite",
    "schema",
    "summary",
]
