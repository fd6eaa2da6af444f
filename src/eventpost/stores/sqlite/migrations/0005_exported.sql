-- Dead letters by the file that they were written to: a replay from files asks for each file.
CREATE INDEX dead_letter_exported ON dead_letter (exported_to) WHERE exported_to != '';
