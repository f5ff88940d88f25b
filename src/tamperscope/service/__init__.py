"""The service: HTTP, the web page."""
