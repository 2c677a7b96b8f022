"""Reading picture files and drawing PNG and GIF. What docs/api.md names can be imported from here."""

from .drawing import grid as grid
from .drawing import sheet as sheet
from .drawing import write_png as write_png
from .gif import write_steps_gif as write_steps_gif
from .reading import read_picture as read_picture
