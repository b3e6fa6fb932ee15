"""The sentences of a recovery sheet: name -> (English, German). What stands between backquotes is typed as it is.

``PATHS`` puts the steps of one set-up in their order; a step that several set-ups share is written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PATHS: Mapping[str, Sequence[str]] = {
    "bitlocker": ("key.id", "key.place", "key.type", "key.after"),
    "metal-windows": ("win.stop", "win.menu", "win.safe", "win.remove", "win.check", "win.start"),
    "metal-linux": ("usb", "mount", "recover", "recovered", "by.hand", "unmount"),
    "hyperv-windows": ("hyperv.off", "hyperv.copy", "hyperv.mount", "disk.remove", "win.check", "hyperv.back"),
    "hyperv-linux": (
        "hyperv.off",
        "hyperv.copy",
        "iso.linux",
        "hyperv.iso",
        "mount",
        "recover",
        "recovered",
        "hyperv.start",
    ),
    "vmware-windows": ("vmware.off", "vmware.copy", "vmware.detach", "disk.remove", "win.check", "vmware.back"),
    "vmware-linux": (
        "vmware.off",
        "vmware.copy",
        "iso.linux",
        "vmware.iso",
        "mount",
        "recover",
        "recovered",
        "vmware.start",
    ),
    "kvm-windows": ("kvm.off", "kvm.copy", "kvm.mount", "kvm.refuses", "disk.remove", "kvm.back"),
    "kvm-linux": ("kvm.off", "kvm.copy", "kvm.mount", "recover", "recovered", "kvm.back"),
    "proxmox-windows": (
        "proxmox.off",
        "proxmox.copy",
        "iso.windows",
        "proxmox.iso",
        "console.prompt",
        "win.remove",
        "proxmox.back",
    ),
    "proxmox-linux": (
        "proxmox.off",
        "proxmox.copy",
        "iso.linux",
        "proxmox.iso",
        "mount",
        "recover",
        "recovered",
        "proxmox.back",
    ),
    "virtual-windows": ("virtual.off", "iso.windows", "virtual.iso", "console.prompt", "win.remove", "virtual.back"),
    "virtual-linux": ("virtual.off", "iso.linux", "virtual.iso", "mount", "recover", "recovered", "virtual.back"),
}
CHECKS = "win.check"
"""The step that needs a good file to be there."""
TITLES: Mapping[str, tuple[str, str]] = {
    "bitlocker": ("If it asks for a BitLocker key", "Falls nach einem BitLocker-Schlüssel gefragt wird"),
    "metal-windows": ("A machine of metal with Windows", "Echter Rechner mit Windows"),
    "metal-linux": ("A machine of metal with Linux", "Echter Rechner mit Linux"),
    "hyperv-windows": ("Virtual machine on Hyper-V, Windows in it", "Virtueller Rechner unter Hyper-V, darin Windows"),
    "hyperv-linux": ("Virtual machine on Hyper-V, Linux in it", "Virtueller Rechner unter Hyper-V, darin Linux"),
    "vmware-windows": ("Virtual machine on VMware, Windows in it", "Virtueller Rechner unter VMware, darin Windows"),
    "vmware-linux": ("Virtual machine on VMware, Linux in it", "Virtueller Rechner unter VMware, darin Linux"),
    "kvm-windows": ("Virtual machine on KVM, Windows in it", "Virtueller Rechner unter KVM, darin Windows"),
    "kvm-linux": ("Virtual machine on KVM, Linux in it", "Virtueller Rechner unter KVM, darin Linux"),
    "proxmox-windows": ("Virtual machine on Proxmox, Windows in it", "Virtueller Rechner unter Proxmox, darin Windows"),
    "proxmox-linux": ("Virtual machine on Proxmox, Linux in it", "Virtueller Rechner unter Proxmox, darin Linux"),
    "virtual-windows": ("Virtual machine, Windows in it", "Virtueller Rechner, darin Windows"),
    "virtual-linux": ("Virtual machine, Linux in it", "Virtueller Rechner, darin Linux"),
}
STEPS: Mapping[str, tuple[str, str]] = {
    "key.id": (
        "The screen shows the id of a key. It must begin like the key id in the table above. Another id: stop, and"
        " call.",
        "Der Bildschirm zeigt die Kennung eines Schlüssels. Sie muss so beginnen wie die Schlüsselkennung in der"
        " Tabelle"
        " oben. Eine andere Kennung: aufhören und anrufen.",
    ),
    "key.place": (
        "The key is at the place that the table names. It is not in gate and not on this sheet.",
        "Der Schlüssel liegt dort, wo die Tabelle sagt. Er steht nicht in gate und nicht auf diesem Blatt.",
    ),
    "key.type": (
        "Type it in. At a command prompt: `manage-bde -unlock C: -RecoveryPassword` and the key.",
        "Eintippen. In der Eingabeaufforderung: `manage-bde -unlock C: -RecoveryPassword` und der Schlüssel.",
    ),
    "key.after": (
        "Never by mail, fax or chat, and never onto this sheet. A key that somebody has heard or seen is made anew"
        " afterwards: `manage-bde -protectors -delete C: -type RecoveryPassword`, then"
        " `manage-bde -protectors -add C: -RecoveryPassword`.",
        "Nie per Mail, Fax oder Chat, und nie auf dieses Blatt. Ein Schlüssel, den jemand gehört oder gesehen hat, wird"
        " danach neu gemacht: `manage-bde -protectors -delete C: -type RecoveryPassword`, dann"
        " `manage-bde -protectors -add C: -RecoveryPassword`.",
    ),
    "win.stop": (
        "Switch it on, and hold the power button as soon as the ring of dots turns, until it is off. Do that twice; at"
        " the third start automatic repair comes. Or start from Windows' installation stick: Repair your computer.",
        "Einschalten und, sobald der Punktekreis sich dreht, den Netzschalter halten, bis er aus ist. Das zweimal; beim"
        " dritten Start kommt die automatische Reparatur. Oder vom Installationsstick starten:"
        " Computerreparaturoptionen.",
    ),
    "win.menu": (
        "Troubleshoot, Advanced options, Startup Settings, Restart.",
        "Problembehandlung, Erweiterte Optionen, Starteinstellungen, Neu starten.",
    ),
    "win.safe": (
        "Press `4`: Safe Mode. Sign in as a local administrator. Where Safe Mode dies too: Troubleshoot, Advanced"
        " options, Command Prompt (WinRE). There Windows may have another letter: try `dir C:\\Windows`, then `D:`.",
        "`4` drücken: abgesicherter Modus. Als lokaler Administrator anmelden. Stirbt auch der abgesicherte Modus:"
        " Problembehandlung, Erweiterte Optionen, Eingabeaufforderung (WinRE). Dort kann Windows einen anderen"
        " Buchstaben haben: erst `dir C:\\Windows`, dann `D:`.",
    ),
    "win.remove": (
        "Delete the files that are named above, with `del` and the whole path in quotes; these and no others.",
        "Die oben genannten Dateien löschen, mit `del` und dem ganzen Pfad in Anführungszeichen; diese und keine"
        " anderen.",
    ),
    "win.check": (
        "Where the good file is there: `certutil -hashfile FILE SHA256` prints the hash that stands above.",
        "Wo die gute Datei liegt: `certutil -hashfile FILE SHA256` zeigt die Prüfsumme, die oben steht.",
    ),
    "win.start": (
        "Start it as usual: `shutdown /r /t 0`, in WinRE `wpeutil reboot`.",
        "Normal starten: `shutdown /r /t 0`, in WinRE `wpeutil reboot`.",
    ),
    "usb": (
        "Start it from a rescue system on a USB stick that has `gate-agent` and the plugin of {source} (gate's .deb).",
        "Von einem Rettungssystem auf einem USB-Stick starten, das `gate-agent` und das Plugin von {source} hat (das"
        " .deb von gate).",
    ),
    "mount": (
        "`lsblk -f` shows the disk; mount it: `mount /dev/DISK /mnt`, and below it what has volumes of its own, such as"
        " `/var` and `/srv`. Where it is encrypted, first: `cryptsetup open /dev/DISK disk`.",
        "`lsblk -f` zeigt die Platte; einhängen: `mount /dev/DISK /mnt`, und darunter, was eigene Volumes hat, etwa"
        " `/var` und `/srv`. Ist sie verschlüsselt, vorher: `cryptsetup open /dev/DISK disk`.",
    ),
    "recover": (
        "`gate-agent recover --root /mnt`. Where it says `nothing is on trial`:"
        " `gate-agent recover --root /mnt --source {source}`.",
        "`gate-agent recover --root /mnt`. Heißt es `nothing is on trial`:"
        " `gate-agent recover --root /mnt --source {source}`.",
    ),
    "recovered": (
        "It must say `{in_place}`. It can be done twice.",
        "Es muss `{in_place}` sagen. Zweimal schadet nicht.",
    ),
    "by.hand": (
        "Without `gate-agent` there: delete the files that are named above, below `/mnt`; `sha256sum` shows hashes.",
        "Ohne `gate-agent` dort: die oben genannten Dateien löschen, unterhalb von `/mnt`; `sha256sum` zeigt"
        " Prüfsummen.",
    ),
    "unmount": (
        "`umount -R /mnt`, take the stick out, start the machine.",
        "`umount -R /mnt`, Stick abziehen, Rechner starten.",
    ),
    "disk.remove": (
        "On that disk, not on the host's own, delete the files that are named above; these and no others.",
        "Auf dieser Platte, nicht auf der des Wirts, die oben genannten Dateien löschen; diese und keine anderen.",
    ),
    "hyperv.off": (
        "On the Hyper-V host, not in the machine: `Stop-VM NAME -TurnOff`.",
        "Am Hyper-V-Wirt, nicht im Rechner: `Stop-VM NAME -TurnOff`.",
    ),
    "hyperv.copy": (
        "`Get-VMHardDiskDrive NAME` shows the disk's file. Copy that file first. Make no checkpoint now: who changes a"
        " disk below a checkpoint destroys it.",
        "`Get-VMHardDiskDrive NAME` zeigt die Datei der Platte. Diese Datei zuerst kopieren. Jetzt keinen Prüfpunkt"
        " anlegen: wer eine Platte unter einem Prüfpunkt ändert, zerstört sie.",
    ),
    "hyperv.mount": (
        "`Mount-VHD -Path FILE` with exactly that file; the disk gets a letter of its own.",
        "`Mount-VHD -Path FILE` mit genau dieser Datei; die Platte bekommt einen eigenen Buchstaben.",
    ),
    "hyperv.back": (
        "`Dismount-VHD -Path FILE`, then `Start-VM NAME`.",
        "`Dismount-VHD -Path FILE`, dann `Start-VM NAME`.",
    ),
    "hyperv.iso": (
        "`Set-VMDvdDrive NAME -Path FILE.iso`, in its settings the DVD drive first, `Start-VM NAME`; go on in its"
        " console.",
        "`Set-VMDvdDrive NAME -Path FILE.iso`, in seinen Einstellungen das DVD-Laufwerk zuerst, `Start-VM NAME`;"
        " weiter in seiner Konsole.",
    ),
    "hyperv.start": (
        "Shut it down, `Set-VMDvdDrive NAME -Path $null`, the disk first again, `Start-VM NAME`.",
        "Herunterfahren, `Set-VMDvdDrive NAME -Path $null`, wieder die Platte zuerst, `Start-VM NAME`.",
    ),
    "vmware.off": (
        "In the vSphere client: this machine, Power, Power Off.",
        "Im vSphere-Client: dieser Rechner, Einschalten/Ausschalten, Ausschalten.",
    ),
    "vmware.copy": (
        "It may have no snapshot: delete all in the snapshot manager, which keeps what is. Then clone it, or copy its"
        " `.vmdk`.",
        "Er darf keinen Snapshot haben: im Snapshot-Manager alle löschen, was ist, bleibt. Dann klonen, oder seine"
        " `.vmdk` kopieren.",
    ),
    "vmware.detach": (
        "Another virtual machine with Windows, Edit Settings, Add existing hard disk: its `.vmdk`. The disk gets a"
        " letter"
        " of its own there.",
        "Ein anderer virtueller Rechner mit Windows, Einstellungen bearbeiten, Vorhandene Festplatte hinzufügen: seine"
        " `.vmdk`. Die Platte bekommt dort einen eigenen Buchstaben.",
    ),
    "vmware.back": (
        "Shut the other one down, remove the disk there without deleting its files, start this machine.",
        "Den anderen herunterfahren, die Platte dort entfernen, ohne ihre Dateien zu löschen, diesen Rechner starten.",
    ),
    "vmware.iso": (
        "CD/DVD drive: that ISO, connect at power on; VM Options: force the firmware's setup, choose the CD; go"
        " on in its console.",
        "CD/DVD-Laufwerk: dieses ISO, beim Einschalten verbinden; VM-Optionen: Setup der Firmware erzwingen, die"
        " CD wählen; weiter in seiner Konsole.",
    ),
    "vmware.start": ("Shut it down, disconnect the CD, start it.", "Herunterfahren, die CD trennen, starten."),
    "kvm.off": (
        "On the host: `virsh destroy NAME`. That switches it off and deletes nothing.",
        "Am Wirt: `virsh destroy NAME`. Das schaltet ihn aus und löscht nichts.",
    ),
    "kvm.copy": (
        "`virsh domblklist NAME` shows its disk; copy that first: `cp --sparse=always DISK DISK.before`.",
        "`virsh domblklist NAME` zeigt seine Platte; zuerst kopieren: `cp --sparse=always DISK DISK.before`.",
    ),
    "kvm.mount": (
        "`guestmount -d NAME -i --rw /mnt` shows its disk below `/mnt`.",
        "`guestmount -d NAME -i --rw /mnt` zeigt seine Platte unterhalb von `/mnt`.",
    ),
    "kvm.back": ("`guestunmount /mnt`, then `virsh start NAME`.", "`guestunmount /mnt`, dann `virsh start NAME`."),
    "proxmox.off": ("On the host: `qm stop ID`.", "Am Wirt: `qm stop ID`."),
    "proxmox.copy": (
        "`qm snapshot ID before-recovery` keeps what is now.",
        "`qm snapshot ID before-recovery` hebt auf, was jetzt ist.",
    ),
    "proxmox.iso": (
        "`qm set ID --ide2 STORE:iso/FILE.iso,media=cdrom --boot order=ide2`, `qm start ID`; go on in its console.",
        "`qm set ID --ide2 STORE:iso/FILE.iso,media=cdrom --boot order=ide2`, `qm start ID`; weiter in seiner Konsole.",
    ),
    "proxmox.back": (
        "`qm stop ID`, `qm set ID --delete ide2 --boot order=scsi0` (or the disk that `qm config ID` names), `qm"
        " start ID`.",
        "`qm stop ID`, `qm set ID --delete ide2 --boot order=scsi0` (oder die Platte, die `qm config ID` nennt),"
        " `qm start ID`.",
    ),
    "kvm.refuses": (
        "Where it refuses, because of BitLocker or fast start-up: its installation medium's ISO into its drive, and"
        " from its console by the command prompt.",
        "Weigert es sich, wegen BitLocker oder Schnellstart: das ISO seines Installationsmediums in sein Laufwerk, und"
        " von seiner Konsole aus mit der Eingabeaufforderung.",
    ),
    "iso.linux": (
        "You need the ISO of a rescue system that has `gate-agent` and the plugin of {source} (gate's .deb).",
        "Nötig ist das ISO eines Rettungssystems, das `gate-agent` und das Plugin von {source} hat (das .deb von"
        " gate).",
    ),
    "iso.windows": (
        "You need the ISO of Windows' installation medium.",
        "Nötig ist das ISO des Installationsmediums von Windows.",
    ),
    "console.prompt": (
        "Repair your computer, Troubleshoot, Command Prompt. Windows may have another letter there: `dir C:\\Windows`.",
        "Computerreparaturoptionen, Problembehandlung, Eingabeaufforderung. Windows kann dort einen anderen Buchstaben"
        " haben: `dir C:\\Windows`.",
    ),
    "virtual.off": (
        "In its hypervisor's console: power it off, and copy its disk.",
        "In der Konsole seines Hypervisors: ausschalten und seine Platte kopieren.",
    ),
    "virtual.iso": (
        "Put it into its drive, start from it, go on in its console.",
        "In sein Laufwerk legen, davon starten, weiter in seiner Konsole.",
    ),
    "virtual.back": ("Power it off, take the ISO out, start it.", "Ausschalten, das ISO entfernen, starten."),
}
WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Recovery sheet", "Wiederherstellungsblatt"),
    "as of": ("As of", "Stand"),
    "happened": ("What happened", "Was geschah"),
    "came": (
        "{source} {version} is here since {since}.",
        "{source} {version} ist seit {since} hier.",
    ),
    "halted": ("Halted at {at}: {because}", "Angehalten um {at}: {because}"),
    "lost": (
        "Machines of this make out of reach: {count}; sites: {sites}.",
        "Rechner dieser Bauart, die nicht erreichbar sind: {count}; Apotheken: {sites}.",
    ),
    "none lost": (
        "No machine of this make is out of reach now.",
        "Kein Rechner dieser Bauart ist jetzt unerreichbar.",
    ),
    "more": (
        "More than {count} are out of reach: these are the first.",
        "Mehr als {count} sind unerreichbar: dies sind die ersten.",
    ),
    "machines": ("Machines that are out of reach", "Rechner, die nicht erreichbar sind"),
    "remove": ("Files to remove", "Dateien, die weg müssen"),
    "no folder": (
        "They lie in the folder that the machine's `agent.toml` names for {source}.",
        "Sie liegen in dem Ordner, den `agent.toml` des Rechners für {source} nennt.",
    ),
    "no files": (
        "The vendor delivers it, and gate does not know its files: its own notice names them.",
        "Der Hersteller liefert sie, und gate kennt ihre Dateien nicht: seine Mitteilung nennt sie.",
    ),
    "good": ("The good release", "Die gute Freigabe"),
    "no good": (
        "gate knows of none before it: the machine must start without.",
        "gate kennt keine davor: der Rechner muss ohne sie starten.",
    ),
    "unknown": (
        "What this make stands on is not known. Take the steps that fit this machine, and no others.",
        "Worauf diese Bauart steht, ist nicht bekannt. Nehmen Sie die Schritte, die zu diesem Rechner passen, und keine"
        " anderen.",
    ),
    "vendor": ("What its source says of going back", "Was die Quelle über den Rückweg sagt"),
    "end": ("When to stop", "Wann aufhören"),
    "stop": (
        "After two tries or 30 minutes on one machine: leave it off, go to the next one, call {call}.",
        "Nach zwei Versuchen oder 30 Minuten an einem Rechner: aus lassen, zum nächsten gehen, {call} anrufen.",
    ),
    "whom": ("whoever looks after it (number: ____________________)", "wer ihn betreut (Nummer: ____________________)"),
    "well": (
        "It is well when its page in gate shows a new word of it. Begin where it opens first, and at each site with one"
        " machine.",
        "In Ordnung ist er, wenn seine Seite in gate ein neues Wort von ihm zeigt. Dort anfangen, wo zuerst geöffnet"
        " wird, und"
        " in jeder Apotheke mit einem Rechner.",
    ),
    "no key": ("not known here", "hier nicht bekannt"),
}


def word(name: str, language: str, **given: object) -> str:
    """One of ``WORDS``, filled."""
    return WORDS[name][language == "de"].format(**given)


def title(path: str, language: str) -> str:
    """What the steps of a set-up are headed by."""
    return TITLES[path][language == "de"]


def steps(path: str, language: str, source: str, good: str) -> list[str]:
    """The steps of a set-up in their order. ``good``: the id of the release to go back to; empty: to none."""
    names = [name for name in PATHS[path] if good or name != CHECKS]
    in_place = f"In place now: {good or 'nothing'}"  # as the agent says it
    found = (STEPS[name][language == "de"] for name in names)
    return [one.replace("{source}", source).replace("{in_place}", in_place) for one in found]
