"""What kernels cannot do, said to this package alone."""


class NoKernelError(Exception):
    """Why a formula has no kernel here, in one sentence. Internal: the plain path takes over."""
