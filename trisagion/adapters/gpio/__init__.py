"""The pins of a Raspberry Pi, by RPi.GPIO or by gpiozero, and pins that are a file on any machine."""

from trisagion.adapters.gpio.file_pins import FilePins
from trisagion.adapters.gpio.pins import Layout, Pins, PinsFailed, open_pins, sample

__all__ = ["FilePins", "Layout", "Pins", "PinsFailed", "open_pins", "sample"]
