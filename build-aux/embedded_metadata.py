"""Stands for importlib.metadata in the executable, which holds modules and not the packages they came in."""


class PackageNotFoundError(ModuleNotFoundError):
    """As importlib.metadata's."""


def version(distribution_name):
    """No version is known of any package."""
    raise PackageNotFoundError(distribution_name)
