"""The native format: records are requests as they stand. Here is the table of codes for failures that name no fault."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CODES: Mapping[str, str] = MappingProxyType(
    {
        # The service answered as it should: it refused.
        "invalid_credentials": "client",
        "invalid_token": "client",
        "otp_expired": "client",
        "otp_invalid": "client",
        "push_denied": "client",
        "push_expired": "client",
        "user_disabled": "client",
        "user_locked": "client",
        "user_unknown": "client",
        # The provider's software or infrastructure failed.
        "backend_timeout": "server",
        "backend_unavailable": "server",
        "db_unavailable": "server",
        "internal_error": "server",
        "overloaded": "server",
        # The fault lay elsewhere.
        "customer_directory_unavailable": "external",
        "dns_failure": "external",
        "network_unreachable": "external",
        "sms_carrier_failure": "external",
    }
)
