"""What the operating system says of a folder that files are kept in, by the names of its errors."""

FINDINGS = {
    "": "EP3304",
    "EACCES": "EP3301",
    "EPERM": "EP3301",
    "EROFS": "EP3301",
    "EEXIST": "EP3302",
    "EISDIR": "EP3302",
    "ELOOP": "EP3302",
    "ENAMETOOLONG": "EP3302",
    "ENOENT": "EP3302",
    "ENOTDIR": "EP3302",
    "EDQUOT": "EP3303",
    "EFBIG": "EP3303",
    "ENOSPC": "EP3303",
    "FileTooLarge": "EP3331",
    "FileMalformed": "EP3330",
}
