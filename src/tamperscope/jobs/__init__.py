"""Work that must not be lost: one table of jobs with leases, the worker that takes from it, and deliveries."""
