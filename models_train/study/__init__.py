"""The study file: what is compared, trained, scored and benchmarked, its checks, and the fingerprints of results."""
