module github.com/rooftune/rooftune

go 1.26.0
