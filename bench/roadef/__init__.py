"""The ROADEF/EURO challenge 2012: processes are moved among machines."""
