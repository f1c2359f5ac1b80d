"""The engines that compute the runs of a study, several at a time: processes of this machine, or Ray."""
