"""What files hold: one format or part of a format per file, from bytes to headers and samples."""
