"""What the auth API reads and writes."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from autopilot.accounts.roles import Permission, Role

_TOKEN_LENGTH = 4096


class CredentialsSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=254)
    password = serializers.CharField(
        max_length=4096, trim_whitespace=False, style={"input_type": "password"}
    )


class RefreshSerializer(serializers.Serializer[Any]):
    refresh = serializers.CharField(max_length=_TOKEN_LENGTH)


class VerifySerializer(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=_TOKEN_LENGTH)


class TokenPairSerializer(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="For the Authorization header; lives for minutes.")
    refresh = serializers.CharField(help_text="Good for one new pair; lives for days.")


class TokenFactsSerializer(serializers.Serializer[Any]):
    token_type = serializers.ChoiceField(choices=["access", "refresh"])
    expires_at = serializers.DateTimeField()


class UserSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    username = serializers.CharField()
    name = serializers.CharField(help_text="Empty when not known.")
    is_superuser = serializers.BooleanField()


class MeSerializer(serializers.Serializer[Any]):
    user = UserSerializer()
    roles = serializers.ListField(
        child=serializers.ChoiceField(choices=[role.value for role in Role])
    )
    permissions = serializers.ListField(
        child=serializers.ChoiceField(choices=[permission.value for permission in Permission]),
        help_text="What the product asks for and you hold.",
    )


class TicketSerializer(serializers.Serializer[Any]):
    ticket = serializers.CharField(
        source="text", help_text="For `?ticket=` in the address of a stream; good once."
    )
    expires_at = serializers.DateTimeField(help_text="Until when it has to be used.")
