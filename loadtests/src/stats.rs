//! Statistics that say whether two samples differ, and where a history changed.
