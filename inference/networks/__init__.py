"""The six architectures, one file each; `build` names them by stage."""
