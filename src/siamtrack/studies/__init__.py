"""The tables and figures of the papers, as experiments that can be run."""
