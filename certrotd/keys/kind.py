"""What keyrings are called beside other kinds of subjects."""

KIND = "key"
