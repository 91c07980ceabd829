"""A secrets provider reads what is at a path, each time anew; who asks it remembers the answer.

What a provider cannot do, it refuses: most neither lend secrets nor change them.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from secure_platform.errors import UsageError
from secure_platform.keys.secrets.secret import Secret


class Lease(Protocol):
    """A secret that is ours until we give it back, and no longer than its keeper lets us."""

    @property
    def secret(self) -> Secret:
        """The secret, while it is good.

        Raises:
            ServiceError: If it has ended.
        """
        ...

    def end(self) -> None:
        """Give it back: nobody can use it any more.

        Raises:
            ServiceError: If its keeper did not take it back; it then ends by itself.
        """
        ...


class SecretsProvider(ABC):
    """Where secrets are kept.

    Attributes:
        is_remote: Whether an answer is worth remembering.
    """

    is_remote: ClassVar[bool] = False

    @abstractmethod
    def read(self, path: str) -> Secret:
        """The whole secret at a path, as it is now.

        Raises:
            UsageError: If there is none, or it cannot be used.
            ServiceError: If its keeper cannot be reached, or refuses.
        """

    def lends(self, path: str) -> bool:
        """Whether a secret is made for us at this path, each time another one."""
        del path
        return False

    def lease(self, path: str) -> Lease:
        """A secret that is made for us.

        Raises:
            UsageError: If nothing is lent there.
            ServiceError: If its keeper cannot be reached, or refuses.
        """
        raise UsageError(f"Nothing is lent at {path}", "Read it instead.")

    def rotate(self, path: str, field: str | None, *, actor: str) -> None:
        """Put a new secret in place of the one at a path.

        Args:
            path: Where it is.
            field: Which part of it; None for the whole.
            actor: Who has it rotated.

        Raises:
            UsageError: If it cannot be changed from here.
            ServiceError: If its keeper cannot be reached, or refuses; the secret is then as it was.
        """
        del field, actor
        raise UsageError(
            f"{path} cannot be rotated from here", "Change it where it was made; it is read anew by itself."
        )
