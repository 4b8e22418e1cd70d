"""The break-it lab: breaks something of what runs, watches the alert that must notice, repairs."""
