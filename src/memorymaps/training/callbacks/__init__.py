"""One line for each training framework and each logger; every module here needs the package it is named after."""
