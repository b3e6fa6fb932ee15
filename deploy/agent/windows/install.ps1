# NOT RUN ON WINDOWS: written from the documentation of sc.exe, icacls, WinSW and Safe Mode, never executed there.
#
# Installs the agent as a service. From: a folder with python\ (Python's embeddable package), lib\ (the agent and its
# dependencies, "pip install --target" from requirements\agent.txt), WinSW-x64.exe, gate-agent.xml and gate-agent.py.
#   .\install.ps1 -From D:\gate-agent -Url https://gate.example -CodeFile D:\code.txt -WinSWSha256 <64 hex digits>
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [string] $From,
    [Parameter(Mandatory)] [string] $Url,
    [Parameter(Mandatory)] [string] $CodeFile,
    [Parameter(Mandatory)] [ValidatePattern('^[0-9A-Fa-f]{64}$')] [string] $WinSWSha256,
    [string[]] $EnrolOptions = @()
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
#Requires -RunAsAdministrator

function Invoke-Checked([string] $Program, [string[]] $Words) {
    & $Program @Words
    if ($LASTEXITCODE -ne 0) { throw "$Program ended with $LASTEXITCODE" }
}

$home_ = Join-Path $env:ProgramFiles 'gate-agent'
$state = Join-Path $env:ProgramData 'gate-agent'
$wrapper = Join-Path $From 'WinSW-x64.exe'
if ((Get-FileHash -Algorithm SHA256 $wrapper).Hash -ne $WinSWSha256) { throw 'WinSW-x64.exe is not the one that was named' }

New-Item -ItemType Directory -Force $home_, $state | Out-Null
Copy-Item -Recurse -Force (Join-Path $From 'python'), (Join-Path $From 'lib'), (Join-Path $From 'gate-agent.py') $home_
Copy-Item -Force $wrapper (Join-Path $home_ 'gate-agent.exe')
Copy-Item -Force (Join-Path $From 'gate-agent.xml') $home_

# By number, since names of groups are translated: S-1-5-18 SYSTEM, S-1-5-32-544 Administrators, S-1-5-32-545 Users.
# Programs: users may read; state with the machine's key: nobody but SYSTEM and administrators.
Invoke-Checked icacls.exe @($home_, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F', '*S-1-5-32-545:(OI)(CI)RX')
Invoke-Checked icacls.exe @($state, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F')

Invoke-Checked (Join-Path $home_ 'gate-agent.exe') @('install')

# Safe Mode starts only what is listed here; Minimal has no network: the agent then keeps its reports.
foreach ($mode in 'Minimal', 'Network') {
    $key = "HKLM:\SYSTEM\CurrentControlSet\Control\SafeBoot\$mode\gate-agent"
    New-Item -Force $key | Out-Null
    Set-ItemProperty $key '(default)' 'Service'
}

$python = Join-Path $home_ 'python\python.exe'
Get-Content -TotalCount 1 $CodeFile | & $python -I -B (Join-Path $home_ 'gate-agent.py') --state $state enrol $Url - @EnrolOptions
if ($LASTEXITCODE -ne 0) { throw "enrolment ended with $LASTEXITCODE" }
Start-Service gate-agent
Write-Output 'compare the fingerprint above with the page Machines before you accept it'
