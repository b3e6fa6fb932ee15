"""The defender plugin: Microsoft Defender's security intelligence from Microsoft or a feeder, for shares and Linux."""
