# NOT RUN ON WINDOWS. Removes the service, its entries for Safe Mode and its programs; content in place stays, and so do
# the machine's key and state, unless -Forget is given.
[CmdletBinding()]
param([switch] $Forget)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
#Requires -RunAsAdministrator

$home_ = Join-Path $env:ProgramFiles 'gate-agent'
if (Get-Service gate-agent -ErrorAction SilentlyContinue) {
    Stop-Service gate-agent
    & (Join-Path $home_ 'gate-agent.exe') uninstall
    if ($LASTEXITCODE -ne 0) { throw "the service could not be removed: $LASTEXITCODE" }
}
foreach ($mode in 'Minimal', 'Network') {
    Remove-Item -Force -ErrorAction SilentlyContinue "HKLM:\SYSTEM\CurrentControlSet\Control\SafeBoot\$mode\gate-agent"
}
if (Test-Path $home_) { Remove-Item -Recurse -Force $home_ }
if ($Forget) {
    $state = Join-Path $env:ProgramData 'gate-agent'
    if (Test-Path $state) { Remove-Item -Recurse -Force $state }
}
Write-Output 'the gate still expects this machine: decommission it on its page there'
