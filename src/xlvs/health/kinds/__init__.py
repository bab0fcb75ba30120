"""One file per kind of check; each names its class `CHECK`."""
