"""The reference agent: it trusts signatures, not the network, and keeps what it has when in doubt.

Reading order: ``accept`` (the rule), ``state`` (what is on disk), ``diary`` (what is written down), ``boots`` and
``health`` (what a boot proves), ``hands`` (what is done, step by step), ``early`` (before anything can load it),
``metadata`` (the read plane), ``calls`` (the write plane), ``talk``, ``asking``, ``loop``, ``cli``. ``linux`` and
``windows`` read how boots ended.
"""
