"""Running trackers over benchmarks: suites, protocols, workers and the store of results."""
