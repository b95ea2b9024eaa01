"""Requests that are refused."""

import grpc


class Refused(Exception):
    """A request is not answered.

    Args:
      code: why, in the terms of gRPC; `rest` turns it into a status of HTTP.
      message: why, for the client.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        # A status of gRPC is a header, which may not be long.
        self.code, self.message = code, message[:1000]


def invalid(message: str) -> Refused:
    """Return the refusal of a request that does not fit."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)
