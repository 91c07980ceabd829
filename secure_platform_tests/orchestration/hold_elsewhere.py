"""A legal hold that is set by another process while something is erased."""

from concurrent.futures import Future, ThreadPoolExecutor

from bank_home import Bank

from secure_platform.access.holds import Hold


class Elsewhere:
    """Another process in which a hold is set."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._pool = ThreadPoolExecutor(1)
        self._set: Future[Hold] | None = None

    def begin(self) -> None:
        """Go on as soon as it is recorded."""
        services = self._bank.services
        if self._set is None:
            petra, resource = self._bank.person("petra"), self._bank.resource
            self._set = self._pool.submit(services.holds.set, petra, resource, "24-cv-0117", None)
            while not services.holds.all():
                assert not self._set.done()

    def ended(self) -> bool:
        assert self._set is not None
        return self._set.done()

    def end(self) -> str:
        assert self._set is not None
        self._pool.shutdown()
        return self._set.result().matter
