"""What managed keys are called beside other kinds of subjects."""

KIND = "managed-key"
