"""The reference agent: it trusts signatures, not the network, and keeps what it has when in doubt.

Reading order: ``accept`` (the rule), ``state`` (what is on disk), ``metadata`` (the read plane), ``calls`` (the write
plane), ``boot``, ``install``, ``loop``, ``cli``.
"""
