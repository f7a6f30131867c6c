"""The benchmarks: what a person waits for, beside other runtimes."""
