"""Tests; a package so that none installed beside it under the same name is found instead."""
