"""`skylane bench capacity`: the highest rate that keeps a target."""
