"""Public data sets as they lie on disk, one per file, and splits by patient."""
