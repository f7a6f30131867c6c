"""What the tests of several folders share: a private cgroup2, a runtime to call, bundles, and the search for leaks."""
