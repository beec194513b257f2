# Read by the `flask` command in this directory.
FLASK_APP=wsgi
