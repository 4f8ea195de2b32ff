"""(see .github/CONTRIBUTING.md)"""
