module netcon

go 1.26.0
