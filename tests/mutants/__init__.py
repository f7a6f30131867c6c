"""`make mutants`: small faults planted in the source, and the tests that should see them."""
